{
  "targets": [{ "target_name": "spanheap", "includes": ["native/spanheap.gypi"] }]
}
