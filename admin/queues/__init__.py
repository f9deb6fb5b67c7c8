"""What only queues have: pause and resume."""
