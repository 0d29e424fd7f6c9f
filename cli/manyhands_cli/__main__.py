"""``python -m manyhands_cli`` is the ``manyhands`` command."""

from manyhands_cli.main import main

if __name__ == "__main__":
    main()
