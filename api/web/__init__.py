"""What every view uses: responses, files, paging, JSON of rows, filters of templates."""
