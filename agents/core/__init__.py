"""What all agents share: the protocol, settings, schedules, targets and optimisers."""
