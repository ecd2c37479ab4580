"""A package to start a plugin from: `harmobench new`.

`command` is the command line, `package` what is written; the files are in `templates`.
"""
