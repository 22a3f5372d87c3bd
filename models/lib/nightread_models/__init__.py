"""Shared code of Nightread's model scripts: networks, data, metrics, export and manifests."""
