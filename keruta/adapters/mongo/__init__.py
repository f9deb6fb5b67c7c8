"""MongoDB: the truth. The only package that knows pymongo, the collections and the queries."""
