"""The scoring stream: topics, transport, pipeline, publisher, worker."""
