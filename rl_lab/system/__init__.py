"""The machine: device, memory, disk, locks, signals and the watchdog."""
