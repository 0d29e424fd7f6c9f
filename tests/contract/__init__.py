"""What crosses the wire, held to the bytes that once did."""
