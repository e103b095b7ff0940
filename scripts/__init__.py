"""What `make` runs around the code: environment, engine, images, demo."""
