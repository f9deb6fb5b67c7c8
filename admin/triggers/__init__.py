"""What forges deliver to triggers: listed, replayed, approved."""
