"""What the daemon answers over HTTP: words for probes, metrics, its status, and one page for people."""
