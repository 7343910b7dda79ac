"""An embedded TCP proxy that speaks Toxiproxy's HTTP API."""
