# How the addon is compiled. It is no binding.gyp, since npm, pnpm and Yarn would compile a package that has one when they install it,
# even with a prebuilt addon in it: the clone's binding.gyp, which isn't published, and scripts/build-addon.mjs include this.
{
  "sources": [
    "addon.cc",
    "direct.cc",
    "isolated.cc",
    "ledger.cc",
    "mapping.cc",
    "old_libraries.cc",
    "system.cc",
    "thread_slot.cc"
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
    ["OS=='linux'", {
      # It is never unloaded: PinAddon in addon.cc says why.
      "ldflags": ["-Wl,-z,nodelete"]
    }],
    ["OS=='mac'", {
      "xcode_settings": {
        "MACOSX_DEPLOYMENT_TARGET": "11.0",
        "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
        "OTHER_CPLUSPLUSFLAGS": ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
      }
    }]
  ]
}
