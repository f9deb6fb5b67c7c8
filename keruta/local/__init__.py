"""One machine: the same system as in a cluster, with a stand-in for what Knative gives."""
