"""What `import harmobench as hb` offers to scripts and notebooks.

`running` takes options and runs, `runs` opens what came of it, `cohorts` reads and simulates,
`installed` lists plugins. `shown` makes HTML, `watch` shows progress in a notebook.
"""
