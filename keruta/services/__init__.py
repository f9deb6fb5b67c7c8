"""Use cases: functions and classes that take values and ports."""
