"""The meaning of the messages over time: state machines that receive the time and never ask for it."""
