"""What the processes measure about themselves and their inputs."""
