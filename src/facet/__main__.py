"""``python -m facet`` is ``facet``, of this very Python."""

from facet.cli import main

if __name__ == "__main__":
    main()
