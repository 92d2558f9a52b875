"""The command line: `main` is its grammar; every other module does the work of one noun, when it is used."""
