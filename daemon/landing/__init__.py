"""Where files arrive: hints of what happened, what is ready, claims. watchdog lives in `watcher`, alone."""
