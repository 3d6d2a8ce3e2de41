"""Reading what producers delivered: landed files, readers, typed columns, and what is refused and why."""
