"""The chaos drill: a job with killers among its tasks, while everything around it is killed, stopped and cut."""
