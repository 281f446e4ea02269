"""What each archive verb means for project-days: here, loading them into the database."""
