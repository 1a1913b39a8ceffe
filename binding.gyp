{
  "targets": [
    {
      "target_name": "spanheap",
      "sources": [
        "native/addon.cc",
        "native/direct.cc",
        "native/isolated.cc",
        "native/ledger.cc",
        "native/mapping.cc",
        "native/system.cc",
        "native/thread_slot.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      # The last: a thread that is being ended can call the shim once more, but can't throw; without it that is a fatal error.
      "defines": [
        "NAPI_VERSION=8",
        "NAPI_DISABLE_CPP_EXCEPTIONS",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"
      ],
      "cflags_cc": ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-fvisibility=hidden"],
      "conditions": [
        ["OS=='mac'", {
          "xcode_settings": {
            "MACOSX_DEPLOYMENT_TARGET": "11.0",
            "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
            "OTHER_CPLUSPLUSFLAGS": ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
          }
        }]
      ]
    }
  ]
}
