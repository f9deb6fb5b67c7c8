"""Deliveries of forges to triggers: listed, replayed, approved."""
