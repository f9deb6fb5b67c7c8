"""What a team keeps in one place and its tasks draw on by name: repositories, credentials, documents, profiles, queues.

Each kind has a `…Spec`, what a person writes (in the API, in YAML), and a `…View`, what is shown of it.
"""
