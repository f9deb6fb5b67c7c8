"""Forges' APIs behind one port."""
