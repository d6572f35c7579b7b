"""The app, as a Space starts it: `python app.py` is `abn app`, with the same options."""

from abn.cli.app import main

if __name__ == "__main__":
    main()
