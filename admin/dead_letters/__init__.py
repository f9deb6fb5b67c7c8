"""Events that could not be delivered: kept for a person to look at. Events are hints, so nothing waits for them."""
