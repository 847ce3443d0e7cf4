"""What the product knows of file formats: each fact once, for every box; light to import, heavy libraries later."""
