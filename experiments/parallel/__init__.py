"""Members of one run in several processes: started, listened to, and shown as one run."""
