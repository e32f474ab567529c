"""Entry point of `python -m rl_lab`."""

from rl_lab.cli.main import main

if __name__ == "__main__":
    main()
