"""The servers that the bench of serving compares: each as its documentation shows it, around the same model file."""
