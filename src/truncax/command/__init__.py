"""The command ``python -m truncax``. It stands on top of the library: nothing else imports it."""
