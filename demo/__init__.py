"""`make demo`: the whole loop, driven from outside as a person would: Airflow's API, HTTP requests, the command line."""
