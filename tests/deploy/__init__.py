"""What is deployed: images, compose, manifests."""
