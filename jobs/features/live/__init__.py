"""Live views: trailing windows of an entity's events, online from packed state and offline by SQL, from one declaration."""
