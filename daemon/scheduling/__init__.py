"""The chain of promotions, retries, sweeps and housekeeping. APScheduler lives here, alone."""
