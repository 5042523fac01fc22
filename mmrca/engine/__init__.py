"""What plugs into mmengine's Runner."""
