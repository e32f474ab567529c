"""The machine and the process: device, precision, memory, cores, disk, locks, signals, watchdog and exit codes."""
