"""Single sign-on by OpenID Connect: optional, beside the passwords of this installation."""
