"""What URLs name, fetched to local files and put back."""
