"""What the services with a store and an API share: engine and migrations, web application, process life."""
