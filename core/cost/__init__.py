"""MACs, parameters, bytes and peak activation memory."""
