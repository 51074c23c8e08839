"""What the messages mean over time: state machines that are told the time and never ask for it."""
