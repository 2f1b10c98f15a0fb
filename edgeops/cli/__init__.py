"""The `edgeops` command: nouns and verbs over the REST API, and one machine as a whole site."""
