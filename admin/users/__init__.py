"""People: who has been here, and who may come no more."""
