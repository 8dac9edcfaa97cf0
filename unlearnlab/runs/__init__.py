"""What happened: events, the store, the worker with its queue, replays, estimates."""
