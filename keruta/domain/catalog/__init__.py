"""The catalog: repositories, credentials, documents, profiles and queues, which a team's tasks use by name.

Each kind has a `…Spec`, what a person writes (in the API, in YAML), and a `…View`, what is shown of it.
"""
