"""What is told: tables, documents, sentences, progress."""
